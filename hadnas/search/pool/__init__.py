"""The pool of candidates that a sampler may choose from, before any of them is built or trained."""
