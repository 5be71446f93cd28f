"""An async actor runtime for tiered teams of language-model agents."""
