"""Block-wise distillation: the options at the sites of a timm network trained and scored alone, then combined."""
