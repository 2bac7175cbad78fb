"""Tables in synchronous memories, and what belongs to them."""
