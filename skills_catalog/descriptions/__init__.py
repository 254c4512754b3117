"""What vendors say of their own APIs: OpenAPI, Swagger, Google discovery and GraphQL, read into one small model."""
