"""Networks: models as `Model(init, apply)`, normalisation, contexts and attention."""
