"""What a configuration would have decided: facts of the past in, decisions out."""
