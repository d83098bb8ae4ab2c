"""Email: outbox, queue, rendering and delivery."""
