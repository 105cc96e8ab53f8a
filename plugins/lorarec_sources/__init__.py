"""First-party sources of lorarec, registered by entry point like those of any other package."""
