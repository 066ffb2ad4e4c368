"""What the finals of a study found on the test split."""
