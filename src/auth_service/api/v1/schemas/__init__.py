"""Request and response models (`…Request`, `…Query`, `…Response`), one module per noun."""
