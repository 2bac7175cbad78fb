"""Self-virtualization: many guests share one unmodified device, checked as it fetches."""
