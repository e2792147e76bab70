"""What the owner of an account sees and changes."""
