"""Request and response models of the administration endpoints, one module per noun."""
