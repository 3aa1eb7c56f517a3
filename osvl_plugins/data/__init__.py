"""Published data brought into verl's and LLaMA-Factory's formats, measured, checked and shown."""
