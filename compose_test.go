package sentrytemporal_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"sentry-temporal/internal/config"
	"sentry-temporal/internal/devserver"
	"sentry-temporal/internal/devserver/devservertest"
)

// deployment is docker-compose.yml, as far as the tests look at it.
type deployment struct {
	Services map[string]service   `yaml:"services"`
	Volumes  map[string]yaml.Node `yaml:"volumes"`
}

type service struct {
	Image       string               `yaml:"image"`
	Build       build                `yaml:"build"`
	Restart     string               `yaml:"restart"`
	Entrypoint  []string             `yaml:"entrypoint"`
	Command     []string             `yaml:"command"`
	Environment map[string]string    `yaml:"environment"`
	Ports       []string             `yaml:"ports"`
	Volumes     []string             `yaml:"volumes"`
	DependsOn   map[string]condition `yaml:"depends_on"`
	Healthcheck yaml.Node            `yaml:"healthcheck"`
	MemLimit    string               `yaml:"mem_limit"`
}

type build struct {
	Context string `yaml:"context"`
	Target  string `yaml:"target"`
}

type condition struct {
	Condition string `yaml:"condition"`
}

// programs are the services that are our own.
var programs = []string{"ingress", "worker"}

func readDeployment(t *testing.T) deployment {
	t.Helper()
	var d deployment
	if err := yaml.Unmarshal(readFile(t, "docker-compose.yml"), &d); err != nil {
		t.Fatal(err)
	}
	for _, name := range programs {
		if _, there := d.Services[name]; !there {
			t.Fatalf("there is no service %s", name)
		}
	}
	return d
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// inImage returns the file of the project that a path in the container stands
// for, if one of the service's mounts has it.
func (s service) inImage(name string) (string, bool) {
	for _, volume := range s.Volumes {
		source, target, _ := strings.Cut(volume, ":")
		target, _, _ = strings.Cut(target, ":")
		if rest, below := strings.CutPrefix(name, target+"/"); below && strings.HasPrefix(source, "./") {
			return path.Join(source, rest), true
		}
	}
	return "", false
}

func TestDeploymentSetsOnlyVariablesThatThereAre(t *testing.T) {
	known, ofIntegration := configurationVariables(t)
	for _, name := range programs {
		environment := readDeployment(t).Services[name].Environment
		integrations, set := environment["INTEGRATIONS"]
		if !set {
			integrations = known["INTEGRATIONS"]
		}
		for integration := range strings.SplitSeq(integrations, ",") {
			for _, variable := range ofIntegration {
				known[strings.ToUpper(integration)+"_"+variable] = ""
			}
		}
		for variable := range environment {
			if _, is := known[variable]; !is && variable != "GOMEMLIMIT" && !temporalVariable.MatchString(variable) {
				t.Errorf("%s: nothing reads %s", name, variable)
			}
		}
	}
}

// temporalVariable are the variables that go.temporal.io/sdk/contrib/envconfig
// reads.
var temporalVariable = regexp.MustCompile(`^TEMPORAL_(ADDRESS|NAMESPACE|API_KEY|CLIENT_AUTHORITY|CONFIG_FILE|PROFILE` +
	`|TLS|TLS_(CLIENT_CERT|CLIENT_KEY|SERVER_CA_CERT)_(PATH|DATA)|TLS_SERVER_NAME|TLS_DISABLE_HOST_VERIFICATION` +
	`|CODEC_ENDPOINT|CODEC_AUTH|GRPC_META_[A-Z0-9_]+)$`)

// configurationVariables returns the variables that internal/config names in its
// struct tags, with their defaults, and the ones that it reads with the prefix of
// an integration, without it.
func configurationVariables(t *testing.T) (variables map[string]string, ofIntegration []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "internal/config/config.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	variables = map[string]string{}
	word := regexp.MustCompile(`API|[A-Z][a-z]+`)
	ast.Inspect(file, func(node ast.Node) bool {
		spec, is := node.(*ast.TypeSpec)
		if !is {
			return true
		}
		fields, is := spec.Type.(*ast.StructType)
		if !is {
			return true
		}
		for _, field := range fields.Fields.List {
			if spec.Name.Name == "rawIntegration" {
				words := word.FindAllString(field.Names[0].Name, -1)
				ofIntegration = append(ofIntegration, strings.ToUpper(strings.Join(words, "_")))
				continue
			}
			if field.Tag == nil {
				continue
			}
			text, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				t.Fatal(err)
			}
			if name, tagged := reflect.StructTag(text).Lookup("envconfig"); tagged {
				variables[name] = reflect.StructTag(text).Get("default")
			}
		}
		return true
	})
	if variables["INTEGRATIONS"] == "" || !slices.Contains(ofIntegration, "CLIENT_SECRET") {
		t.Fatalf("these cannot be all variables: %v, %v", slices.Sorted(maps.Keys(variables)), ofIntegration)
	}
	return variables, ofIntegration
}

// What the Go runtime does not count, such as pages of the journal, needs a place
// beside what it may take.
func TestDeploymentLeavesMemoryBesideThatOfGo(t *testing.T) {
	for _, name := range programs {
		s := readDeployment(t).Services[name]
		if limit := quantity(t, strings.ToUpper(s.MemLimit)+"i"); !leavesMemory(t, s.Environment["GOMEMLIMIT"], limit) {
			t.Errorf("%s: of %s Go may take %s", name, s.MemLimit, s.Environment["GOMEMLIMIT"])
		}
	}
}

// leavesMemory reports whether a fifth of limit is left with a GOMEMLIMIT.
func leavesMemory(t *testing.T, goLimit string, limit resource.Quantity) bool {
	t.Helper()
	ofGo := quantity(t, strings.TrimSuffix(goLimit, "B"))
	return ofGo.Value() > 0 && ofGo.Value()*5 <= limit.Value()*4
}

func quantity(t *testing.T, text string) resource.Quantity {
	t.Helper()
	q, err := resource.ParseQuantity(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return q
}

func TestDeploymentPinsItsImages(t *testing.T) {
	images := map[string]string{}
	for name, s := range readDeployment(t).Services {
		if s.Build.Target == "" {
			images["service "+name] = s.Image
		}
	}
	dockerfile := readDockerfile(t)
	for _, from := range dockerfile.from {
		if !slices.Contains(dockerfile.stages, from) && from != "scratch" {
			images["Dockerfile, "+from] = from
		}
	}
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?(@sha256:[0-9a-f]{64})?$`)
	for where, image := range images {
		if !pinned.MatchString(image) {
			t.Errorf("%s: the image %q has no exact version", where, image)
		}
	}
}

func TestDeploymentUsesOneVersionOfTemporal(t *testing.T) {
	versions := map[string]bool{}
	for _, s := range readDeployment(t).Services {
		name, version, _ := strings.Cut(s.Image, ":")
		if name == "temporalio/server" || name == "temporalio/admin-tools" {
			versions[version] = true
		}
	}
	if len(versions) != 1 {
		t.Errorf("server and tools have the versions %v", slices.Collect(maps.Keys(versions)))
	}
}

func TestDeploymentIsOpenForWebhooksOnly(t *testing.T) {
	d := readDeployment(t)
	known, _ := configurationVariables(t)
	_, webhooks, _ := strings.Cut(known["LISTEN_ADDR"], ":")
	for name, s := range d.Services {
		for _, port := range s.Ports {
			if name == "ingress" && strings.HasSuffix(port, ":"+webhooks) {
				continue
			}
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: the port %s is open to everybody", name, port)
			}
		}
	}
}

func TestDeploymentHasNoSecretOfItsOwn(t *testing.T) {
	secret := regexp.MustCompile(`SECRET|PASSWORD|PWD|TOKEN|API_KEY|KEY_DATA`)
	// Needed, or none at all by itself.
	elsewhere := regexp.MustCompile(`^\$\{[A-Z_]+:(\?[^}]+|-)\}$`)
	found := 0
	for name, s := range readDeployment(t).Services {
		for variable, value := range s.Environment {
			if !secret.MatchString(variable) {
				continue
			}
			found++
			if !elsewhere.MatchString(value) {
				t.Errorf("%s: %s is not ${VARIABLE:?what it is} or ${VARIABLE:-}", name, variable)
			}
		}
	}
	if found == 0 {
		t.Error("no secret was found")
	}
}

// Such as an admin address for other containers without a token.
func TestDeploymentIsConfiguredAsTheProgramsWantIt(t *testing.T) {
	written := regexp.MustCompile(`^\$\{[A-Z_]+:([?-])([^}]*)\}$`)
	ofImages := regexp.MustCompile(`(?m)^ENV ([A-Z_]+)=(\S+)$`).FindAllStringSubmatch(string(readFile(t, "Dockerfile")), -1)
	for name, load := range map[string]func() error{
		"ingress": func() error { _, err := config.LoadIngress(); return err },
		"worker":  func() error { _, err := config.LoadWorker(); return err },
	} {
		t.Run(name, func(t *testing.T) {
			setOnlyTheSecret(t)
			for _, m := range ofImages {
				t.Setenv(m[1], m[2])
			}
			for variable, value := range readDeployment(t).Services[name].Environment {
				switch m := written.FindStringSubmatch(value); {
				case m == nil:
				case m[1] == "?": // from .env
					value = strings.Repeat("0123456789abcdef", 4)
				default:
					value = m[2]
				}
				t.Setenv(variable, value)
			}
			if err := load(); err != nil {
				t.Error(err)
			}
			if cfg, err := config.LoadWorker(); err != nil || len(cfg.Outside.Problems) > 0 {
				t.Errorf("what workflows act on has the problems %v, %v", cfg.Outside.Problems, err)
			}
		})
	}
}

func TestTheUIOfTheDeploymentSendsTheCookieToTheCodec(t *testing.T) {
	services := readDeployment(t).Services
	ui := services["ui"].Environment
	if services["ingress"].Environment["ADMIN_TOKEN"] != "" && ui["TEMPORAL_CODEC_ENDPOINT"] != "" && ui["TEMPORAL_CODEC_INCLUDE_CREDENTIALS"] != "true" {
		t.Error("it does not, and cannot decode")
	}
}

func TestDeploymentWaitsForWhatCanComeAbout(t *testing.T) {
	services := readDeployment(t).Services
	for name, s := range services {
		for other, c := range s.DependsOn {
			target, there := services[other]
			switch {
			case !there:
				t.Errorf("%s waits for %s, which is no service", name, other)
			case c.Condition == "service_healthy" && target.Healthcheck.IsZero():
				t.Errorf("%s waits for the health of %s, which has no health check", name, other)
			case c.Condition == "service_completed_successfully" && target.Restart != "no":
				t.Errorf("%s waits for the end of %s, which is started again", name, other)
			}
		}
	}
}

func TestDeploymentMountsWhatIsThere(t *testing.T) {
	d := readDeployment(t)
	scripts := 0
	for name, s := range d.Services {
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if _, declared := d.Volumes[source]; declared {
				continue
			}
			if _, err := os.Stat(source); !strings.HasPrefix(source, "./") || err != nil {
				t.Errorf("%s mounts %s, which is neither a volume nor a file here", name, source)
			}
		}
		mentioned := slices.Concat(s.Entrypoint, s.Command, slices.Collect(maps.Values(s.Environment)))
		for _, word := range mentioned {
			file, ours := s.inImage(word)
			if !ours {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if !strings.HasSuffix(file, ".sh") {
				continue
			}
			scripts++
			check := exec.CommandContext(t.Context(), "sh", "-n")
			check.Stdin = bytes.NewReader(text)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", file, err, out)
			}
		}
	}
	if scripts == 0 {
		t.Error("no script was found")
	}
}

// dockerfile is the Dockerfile, as far as the tests look at it.
type dockerfile struct {
	from    []string // what each stage begins with
	stages  []string
	copies  []string // from the project
	taken   []string // stages that others copy from
	built   []string // packages
	volumes []string
	steps   map[string][]step // by stage
}

// step is an instruction within a stage.
type step struct {
	name  string
	flags []string
	words []string
}

func readDockerfile(t *testing.T) dockerfile {
	t.Helper()
	d := dockerfile{steps: map[string][]step{}}
	text := strings.ReplaceAll(string(readFile(t, "Dockerfile")), "\\\n", " ")
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		instruction, words := words[0], words[1:]
		var flags []string
		for len(words) > 0 && strings.HasPrefix(words[0], "--") {
			flags, words = append(flags, words[0]), words[1:]
		}
		if instruction == "FROM" {
			d.from, d.stages = append(d.from, words[0]), append(d.stages, words[len(words)-1])
			continue
		}
		stage := d.stages[len(d.stages)-1]
		d.steps[stage] = append(d.steps[stage], step{instruction, flags, words})
		switch instruction {
		case "VOLUME":
			d.volumes = append(d.volumes, words...)
		case "COPY":
			taken := ""
			for _, flag := range flags {
				if stage, is := strings.CutPrefix(flag, "--from="); is {
					taken = stage
				}
			}
			if taken != "" {
				d.taken = append(d.taken, taken)
			} else {
				d.copies = append(d.copies, words[:len(words)-1]...)
			}
		case "RUN":
			if at := slices.Index(words, "build"); at > 0 && words[at-1] == "go" {
				for _, word := range words {
					if strings.HasPrefix(word, "./") {
						d.built = append(d.built, word)
					}
				}
			}
		}
	}
	return d
}

// image returns the instructions that an image is of, with those of the stages
// that it begins with.
func (d dockerfile) image(target string) []step {
	at := slices.Index(d.stages, target)
	if at < 0 {
		return nil
	}
	return slices.Concat(d.image(d.from[at]), d.steps[target])
}

func TestDockerfileBuildsWhatIsThere(t *testing.T) {
	d := readDockerfile(t)
	if len(d.copies) == 0 || len(d.taken) == 0 {
		t.Error("nothing is copied")
	}
	for _, source := range d.copies {
		if _, err := os.Stat(source); err != nil {
			t.Error(err)
		}
	}
	for _, stage := range d.taken {
		if !slices.Contains(d.stages, stage) {
			t.Errorf("there is no stage %s to copy from", stage)
		}
	}
	services := readDeployment(t).Services
	for _, name := range programs {
		if !slices.Contains(d.built, "./cmd/"+name) {
			t.Errorf("the program of the service %s is not built", name)
		}
		if target := services[name].Build.Target; !slices.Contains(d.stages, target) {
			t.Errorf("the service %s is of a stage %q, which there is not", name, target)
		}
	}
	for _, folder := range d.built {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s has no Go files: %v", folder, err)
		}
	}
	for _, volume := range d.volumes {
		mounted := slices.ContainsFunc(services["ingress"].Volumes, func(v string) bool { return strings.HasSuffix(v, ":"+volume) })
		if !mounted {
			t.Errorf("what the ingress keeps in %s goes with its container", volume)
		}
	}
}

// What the programs are built from has to get past .dockerignore, and nothing
// else: a file with secrets lies beside it all too easily.
func TestDockerIgnoresAllButTheSources(t *testing.T) {
	var let []string
	ignoresAll := false
	for line := range strings.Lines(string(readFile(t, ".dockerignore"))) {
		line = strings.TrimSpace(line)
		ignoresAll = ignoresAll || line == "*"
		if name, is := strings.CutPrefix(line, "!"); is {
			let = append(let, name)
		}
	}
	if !ignoresAll {
		t.Error("not everything is ignored to begin with")
	}
	want := []string{"go.mod", "go.sum"}
	folders, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if folder.IsDir() && !strings.HasPrefix(folder.Name(), ".") && hasGoFiles(t, folder.Name()) {
			want = append(want, folder.Name())
		}
	}
	slices.Sort(let)
	slices.Sort(want)
	if !slices.Equal(let, want) {
		t.Errorf("let through are %v, but the sources are %v", let, want)
	}
}

func hasGoFiles(t *testing.T, folder string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") {
			found = true
			return filepath.SkipAll
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// searchAttributes are the Keyword attributes that a run may have.
var searchAttributes = []string{"SentryEvent", "SentryIntegration", "SentryProject", "SentryIssueId", "SentryShortId", "SentryLevel"}

// The job runs at each start of the deployment.
func TestNamespaceJob(t *testing.T) {
	job := readDeployment(t).Services["namespace"]
	script, ours := job.inImage(job.Entrypoint[len(job.Entrypoint)-1])
	if !ours {
		t.Fatalf("%v is not a script of the project", job.Entrypoint)
	}
	text := readFile(t, script)
	server := devservertest.Start(t, devserver.Options{})
	binary, err := devserver.Binary()
	if err != nil {
		t.Fatal(err)
	}
	run := func(namespace, retention string) error {
		shell := exec.CommandContext(t.Context(), "sh")
		shell.Stdin = bytes.NewReader(text)
		shell.Env = []string{
			"PATH=" + filepath.Dir(binary) + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + t.TempDir(),
			"TEMPORAL_ADDRESS=" + server.Address, "TEMPORAL_NAMESPACE=" + namespace, "RETENTION=" + retention,
		}
		if out, err := shell.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	quiet := log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.DialContext(t.Context(), client.Options{HostPort: server.Address, Logger: quiet, Namespace: "team"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	t.Run("makes a namespace, and keeps one, ready for runs", func(t *testing.T) {
		for _, retention := range []string{"1d", job.Environment["RETENTION"]} {
			if err := run("team", retention); err != nil {
				t.Fatal(err)
			}
		}
		var attributes []temporal.SearchAttributeUpdate
		for _, name := range searchAttributes {
			attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(name).ValueSet("value"))
		}
		_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			TaskQueue: "sentry", TypedSearchAttributes: temporal.NewSearchAttributes(attributes...),
		}, "any")
		if err != nil {
			t.Error(err)
		}
		described, err := c.WorkflowService().DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: "team"})
		if err != nil {
			t.Fatal(err)
		}
		got := described.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
		if want := 7 * 24 * time.Hour; got != want {
			t.Errorf("the retention is %v, not %v", got, want)
		}
	})

	t.Run("fails when an attribute is of another type", func(t *testing.T) {
		_, err := c.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
			Namespace:        client.DefaultNamespace,
			SearchAttributes: map[string]enums.IndexedValueType{"SentryLevel": enums.INDEXED_VALUE_TYPE_INT},
		})
		if err != nil {
			t.Fatal(err)
		}
		if run(client.DefaultNamespace, "7d") == nil {
			t.Error("it does not")
		}
	})
}
