"""HTTP, and nothing but HTTP: what comes in is read and checked here, and what goes out is written here."""
