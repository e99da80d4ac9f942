package config

// Variables returns those that both programs have in common, also Temporal's.
func Variables() []string { return append(variablesOf("", &raw{}), temporalVariables()...) }

// VariablesOf returns those of the integration with the prefix.
func VariablesOf(prefix string) []string { return variablesOf(prefix, &rawIntegration{}) }
