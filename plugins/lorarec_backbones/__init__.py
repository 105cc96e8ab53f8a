"""First-party backbones of lorarec, registered by entry point like anyone's."""
