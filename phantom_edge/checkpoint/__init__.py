"""What a published Phantom checkpoint is: configuration, names of tensors, loading."""
