"""The HTTP interface: submissions come in, their state and reports go out. OpenAPI describes it (docs/openapi.json)."""
