"""The parts that pipelines are composed of."""
