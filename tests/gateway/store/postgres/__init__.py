"""What the engine on PostgreSQL has of its own."""
