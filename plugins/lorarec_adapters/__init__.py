"""First-party adapters of lorarec, registered by entry points as any others."""
