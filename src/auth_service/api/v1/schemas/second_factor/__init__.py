"""Request and response models of second factors."""
