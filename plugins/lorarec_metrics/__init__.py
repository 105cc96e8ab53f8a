"""First-party metrics of lorarec, registered by entry point like those of any other package."""
