"""An orders API, as another team might have written it: of Mintmark it knows the dependency alone."""
