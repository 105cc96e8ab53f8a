"""The command line. Heavy modules are imported inside functions, so that `lorarec --help` is fast."""
