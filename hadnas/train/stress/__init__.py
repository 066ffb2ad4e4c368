"""What a trained network loses under noise, attacks and pruning."""
