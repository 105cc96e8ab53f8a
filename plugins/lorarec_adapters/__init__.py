"""First-party adapters of lorarec, registered by entry point like anyone's."""
