"""First-party metrics of lorarec, registered by entry point like anyone's."""
