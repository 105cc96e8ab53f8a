"""First-party sources of lorarec, registered by entry point like anyone's."""
