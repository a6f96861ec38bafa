"""Networks as files for other programs: ONNX, INT8, fp16, torch.export, safetensors, and a card."""
