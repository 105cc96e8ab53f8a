"""From installed packages to plugin classes, and from a recipe's names to built plugins."""
