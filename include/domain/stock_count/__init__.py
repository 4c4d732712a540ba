"""The rules of counting stock: what is counted when and by whom, and when a sheet is complete."""
