#!/bin/sh
# Brings Temporal's two databases to the schema of this version of the tools:
# from nothing, from an older version, or not at all if they have it.
# SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER and SQL_PASSWORD say where they are.
set -eu

prepare() {
	temporal-sql-tool --database "$1" create-database
	temporal-sql-tool --database "$1" setup-schema --version 0.0 # the table of versions; leaves a later one alone
	temporal-sql-tool --database "$1" update-schema --schema-name "postgresql/v12/$2"
}

prepare temporal temporal
prepare temporal_visibility visibility
