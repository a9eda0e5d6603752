"""What is stored, as answers to people and programs."""
