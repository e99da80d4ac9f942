#!/bin/sh
# Makes a namespace ready for the runs: it is there, with its retention and the
# search attributes. What is right already stays as it is.
# TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and RETENTION say which and how long.
set -eu
: "${TEMPORAL_ADDRESS:?}" "${TEMPORAL_NAMESPACE:?}" "${RETENTION:?}"

# All of type Keyword.
attributes='SentryEvent SentryIntegration SentryProject SentryIssueId SentryShortId SentryLevel'

# A server that has just started answers some calls later than others, and takes
# seconds to learn of a new namespace or attribute.
retry() {
	left=60
	until output=$("$@" 2>&1); do
		left=$((left - 1))
		if [ "$left" -eq 0 ]; then
			echo "$*: $output" >&2
			return 1
		fi
		sleep 1
	done
}

keep_namespace() {
	if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE"; then
		temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
	else
		temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
	fi
}

list_attributes() {
	temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE"
}

create_attributes() {
	set --
	for name in $attributes; do
		set -- "$@" --name "$name" --type Keyword
	done
	temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" "$@"
}

# query_attributes fails for as long as the server does not know all of them.
query_attributes() {
	query=
	for name in $attributes; do
		query="$query${query:+ AND }$name = 'none'"
	done
	temporal workflow list --namespace "$TEMPORAL_NAMESPACE" --limit 1 --query "$query"
}

retry temporal operator cluster health
retry keep_namespace
retry list_attributes
for name in $attributes; do
	type=$(echo "$output" | awk -v name="$name" '$1 == name { print $2 }')
	if [ "${type:-Keyword}" != Keyword ]; then
		echo "search attribute $name of namespace $TEMPORAL_NAMESPACE has the type $type, which cannot change to Keyword" >&2
		exit 1
	fi
done
retry create_attributes
retry query_attributes
echo "namespace $TEMPORAL_NAMESPACE is ready"
