"""The trained model: backbone, adapter and head in one module; what trains."""
