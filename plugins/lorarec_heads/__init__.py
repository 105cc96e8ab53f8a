"""First-party heads of lorarec, registered by entry point like anyone's."""
