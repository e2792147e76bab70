"""An orders API, as another team might have written it: of Authmint it knows the dependency alone."""
