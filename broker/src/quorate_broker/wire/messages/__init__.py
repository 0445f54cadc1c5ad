"""The messages, one module per API, all versions in one table. `apis` lists them."""
