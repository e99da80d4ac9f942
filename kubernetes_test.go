package sentrytemporal_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"sentry-temporal/internal/config"
)

// manifests are the objects in deploy/kubernetes, by kind and name.
type manifests map[string]metav1.Object

// readManifests wants each object to be of a type that Kubernetes has, with no
// field that it has not, and in the one namespace.
func readManifests(t *testing.T) manifests {
	t.Helper()
	files, err := filepath.Glob("deploy/kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no manifests: %v", err)
	}
	all := manifests{}
	for _, file := range files {
		for text := range bytes.SplitSeq(readFile(t, file), []byte("\n---\n")) {
			var of metav1.TypeMeta
			if err := yaml.Unmarshal(text, &of); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			object := map[string]metav1.Object{
				"v1 Namespace":                       &corev1.Namespace{},
				"v1 Secret":                          &corev1.Secret{},
				"v1 ConfigMap":                       &corev1.ConfigMap{},
				"v1 Service":                         &corev1.Service{},
				"apps/v1 Deployment":                 &appsv1.Deployment{},
				"apps/v1 StatefulSet":                &appsv1.StatefulSet{},
				"policy/v1 PodDisruptionBudget":      &policyv1.PodDisruptionBudget{},
				"networking.k8s.io/v1 Ingress":       &networkingv1.Ingress{},
				"networking.k8s.io/v1 NetworkPolicy": &networkingv1.NetworkPolicy{},
			}[of.APIVersion+" "+of.Kind]
			if object == nil {
				t.Fatalf("%s: this test does not know a %s %s", file, of.APIVersion, of.Kind)
			}
			encoded, err := yaml.YAMLToJSONStrict(text)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			strict, err := strictjson.UnmarshalStrict(encoded, object)
			if err != nil || len(strict) > 0 {
				t.Fatalf("%s: %s: %v %v", file, of.Kind, strict, err)
			}
			key := of.Kind + " " + object.GetName()
			if all[key] != nil {
				t.Errorf("%s is there twice", key)
			}
			if of.Kind != "Namespace" && object.GetNamespace() != "sentry-temporal" {
				t.Errorf("%s is in the namespace %q", key, object.GetNamespace())
			}
			all[key] = object
		}
	}
	return all
}

// get returns the object of that kind and name.
func get[T metav1.Object](t *testing.T, all manifests, key string) T {
	t.Helper()
	object, is := all[key].(T)
	if !is {
		t.Fatalf("there is no %s", key)
	}
	return object
}

// pods returns what runs, by the program.
func (m manifests) pods(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	set, deployment := get[*appsv1.StatefulSet](t, m, "StatefulSet ingress"), get[*appsv1.Deployment](t, m, "Deployment worker")
	for name, selector := range map[string]*metav1.LabelSelector{"ingress": set.Spec.Selector, "worker": deployment.Spec.Selector} {
		template := map[string]corev1.PodTemplateSpec{"ingress": set.Spec.Template, "worker": deployment.Spec.Template}[name]
		if !selects(selector.MatchLabels, template) {
			t.Errorf("%s does not select its own pods", name)
		}
	}
	return map[string]corev1.PodTemplateSpec{"ingress": set.Spec.Template, "worker": deployment.Spec.Template}
}

func selects(selector map[string]string, pod corev1.PodTemplateSpec) bool {
	return len(selector) > 0 && labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels))
}

// environment is what a pod's container is told by the manifests and its image.
func (m manifests) environment(t *testing.T, program string, c corev1.Container) map[string]string {
	t.Helper()
	environ := map[string]string{}
	for _, s := range readDockerfile(t).image(program) {
		if s.name == "ENV" {
			for _, assignment := range s.words {
				name, value, _ := strings.Cut(assignment, "=")
				environ[name] = value
			}
		}
	}
	for _, from := range c.EnvFrom {
		maps.Copy(environ, get[*corev1.ConfigMap](t, m, "ConfigMap "+from.ConfigMapRef.Name).Data)
	}
	for _, variable := range c.Env {
		environ[variable.Name] = variable.Value
	}
	return environ
}

// mounted returns the files that the secrets of a pod become.
func (m manifests) mounted(t *testing.T, pod corev1.PodTemplateSpec) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		at := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if at < 0 {
			continue
		}
		if optional := pod.Spec.Volumes[at].ConfigMap; optional != nil {
			if optional.Optional == nil || !*optional.Optional {
				t.Errorf("the ConfigMap %s is not in the manifests, and needed", optional.Name)
			}
			continue
		}
		source := pod.Spec.Volumes[at].Secret
		if source == nil || source.DefaultMode == nil || *source.DefaultMode != 0o440 {
			t.Errorf("the volume %s is not a secret that its group alone may read", mount.Name)
			continue
		}
		for key, value := range get[*corev1.Secret](t, m, "Secret "+source.SecretName).StringData {
			files[mount.MountPath+"/"+key] = value
		}
	}
	return files
}

func TestManifestsSetWhatTheProgramsTake(t *testing.T) {
	m := readManifests(t)
	load := map[string]func() error{
		"ingress": func() error { _, err := config.LoadIngress(); return err },
		"worker":  func() error { _, err := config.LoadWorker(); return err },
	}
	known, ofIntegration := configurationVariables(t)
	for _, variable := range ofIntegration {
		known["SENTRY_"+variable] = ""
	}
	for program, pod := range m.pods(t) {
		t.Run(program, func(t *testing.T) {
			setOnlyTheSecret(t)
			if err := os.Unsetenv("SENTRY_CLIENT_SECRET"); err != nil {
				t.Fatal(err)
			}
			files := m.mounted(t, pod)
			var fromFiles []string
			root := t.TempDir()
			for name, value := range m.environment(t, program, pod.Spec.Containers[0]) {
				if _, is := known[name]; !is && name != "GOMEMLIMIT" && !temporalVariable.MatchString(name) {
					t.Errorf("nothing reads %s", name)
				}
				if strings.HasSuffix(name, "_FILE") {
					text, there := files[value]
					if !there {
						t.Fatalf("%s is %s, and mounted are %v", name, value, files)
					}
					fromFiles = append(fromFiles, name)
					value = filepath.Join(root, name)
					if err := os.WriteFile(value, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				t.Setenv(name, value)
			}
			err := load[program]()
			for _, name := range fromFiles {
				if err == nil || !strings.Contains(err.Error(), name+": ") {
					t.Errorf("%s is taken as it stands in the manifests: %v", name, err)
				}
				if err := os.WriteFile(filepath.Join(root, name), []byte(values["SENTRY_CLIENT_SECRET"]+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := load[program](); err != nil || len(fromFiles) == 0 {
				t.Errorf("with secrets in place of the placeholders: %v", err)
			}
		})
	}
}

func TestManifestsReachWhatListens(t *testing.T) {
	m := readManifests(t)
	known, _ := configurationVariables(t)
	pods := m.pods(t)
	for program, pod := range pods {
		c := pod.Spec.Containers[0]
		environ := m.environment(t, program, c)
		want := map[string]string{"webhooks": known["LISTEN_ADDR"], "admin": environ["ADMIN_ADDR"]}
		if program == "worker" {
			want = map[string]string{"admin": environ["WORKER_ADMIN_ADDR"]}
		}
		got := map[string]string{}
		for _, port := range c.Ports {
			got[port.Name] = ":" + strconv.Itoa(int(port.ContainerPort))
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s has the ports %v, and listens at %v", program, got, want)
		}
		for probe, path := range map[*corev1.Probe]string{c.StartupProbe: "/healthz", c.LivenessProbe: "/healthz", c.ReadinessProbe: "/readyz"} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "admin" {
				t.Errorf("%s: a probe is not GET %s at the port admin: %v", program, path, probe)
			}
		}
	}
	ports := func(pod corev1.PodTemplateSpec) (names []string) {
		for _, port := range pod.Spec.Containers[0].Ports {
			names = append(names, port.Name)
		}
		return names
	}
	seen := map[string]bool{}
	for key, object := range m {
		switch o := object.(type) {
		case *corev1.Service:
			seen["Service"] = true
			for _, port := range o.Spec.Ports {
				if !selects(o.Spec.Selector, pods["ingress"]) || !slices.Contains(ports(pods["ingress"]), port.TargetPort.StrVal) {
					t.Errorf("%s sends to nobody's port %s", key, port.TargetPort.StrVal)
				}
			}
		case *networkingv1.Ingress:
			seen["Ingress"] = true
			backend := o.Spec.Rules[0].HTTP.Paths[0].Backend.Service
			service := get[*corev1.Service](t, m, "Service "+backend.Name)
			if backend.Port.Name != "webhooks" || !slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == "webhooks" }) {
				t.Errorf("%s sends to a port %s of %s", key, backend.Port.Name, backend.Name)
			}
		case *networkingv1.NetworkPolicy:
			seen["NetworkPolicy"] = true
			var open []string
			for _, rule := range o.Spec.Ingress {
				for _, port := range rule.Ports {
					open = append(open, port.Port.StrVal)
					if port.Port.StrVal == "admin" && len(rule.From) == 0 {
						t.Errorf("%s opens the admin address to everybody", key)
					}
				}
			}
			if !selects(o.Spec.PodSelector.MatchLabels, pods["ingress"]) || !slices.Equal(open, ports(pods["ingress"])) {
				t.Errorf("%s opens %v", key, open)
			}
		case *policyv1.PodDisruptionBudget:
			seen[key] = true
			if !selects(o.Spec.Selector.MatchLabels, pods[o.Name]) || o.Spec.MaxUnavailable.IntVal != 1 {
				t.Errorf("%s does not keep all but one of %s", key, o.Name)
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("there are only %v", seen)
	}
	set := get[*appsv1.StatefulSet](t, m, "StatefulSet ingress")
	if headless := get[*corev1.Service](t, m, "Service "+set.Spec.ServiceName); headless.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("%s is not headless", headless.Name)
	}
}

func TestManifestsLetThePodsDoNothingElse(t *testing.T) {
	m := readManifests(t)
	for program, pod := range m.pods(t) {
		var user uint32
		for _, s := range readDockerfile(t).image(program) {
			if s.name == "USER" {
				user, _ = userOf(s.words[0])
			}
		}
		p, c := pod.Spec.SecurityContext, pod.Spec.Containers[0].SecurityContext
		if p == nil || p.RunAsNonRoot == nil || !*p.RunAsNonRoot || p.RunAsUser == nil || *p.RunAsUser != int64(user) ||
			p.FSGroup == nil || *p.FSGroup != int64(user) || p.SeccompProfile == nil || p.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: the pod is %v, and the user of the image %d", program, p, user)
		}
		if c == nil || c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem || c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation ||
			c.Capabilities == nil || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: the container is %v", program, c)
		}
		if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token {
			t.Errorf("%s has a token for the cluster, which it does not use", program)
		}
	}
}

func TestManifestsGiveRoomAndTime(t *testing.T) {
	m := readManifests(t)
	known, _ := configurationVariables(t)
	for program, pod := range m.pods(t) {
		c := pod.Spec.Containers[0]
		environ := m.environment(t, program, c)
		limit, request := c.Resources.Limits[corev1.ResourceMemory], c.Resources.Requests[corev1.ResourceMemory]
		if !leavesMemory(t, environ["GOMEMLIMIT"], limit) || request.IsZero() {
			t.Errorf("%s: of %v Go may take %s", program, limit, environ["GOMEMLIMIT"])
		}
		delay, err := time.ParseDuration(known["SHUTDOWN_DELAY"])
		if set := environ["SHUTDOWN_DELAY"]; set != "" {
			delay, err = time.ParseDuration(set)
		}
		const work = 20 * time.Second // that the worker gives activities under way
		if grace := pod.Spec.TerminationGracePeriodSeconds; err != nil || grace == nil || time.Duration(*grace)*time.Second < delay+work+10*time.Second {
			t.Errorf("%s is killed too early: %v, %v", program, grace, err)
		}
	}
	set := get[*appsv1.StatefulSet](t, m, "StatefulSet ingress")
	pod := set.Spec.Template
	claim := set.Spec.VolumeClaimTemplates[0]
	at := slices.IndexFunc(pod.Spec.Containers[0].VolumeMounts, func(v corev1.VolumeMount) bool { return v.Name == claim.Name })
	dir := m.environment(t, "ingress", pod.Spec.Containers[0])["JOURNAL_DIR"]
	if at < 0 || !strings.HasPrefix(dir, pod.Spec.Containers[0].VolumeMounts[at].MountPath+"/") {
		t.Errorf("the journal in %s goes with its pod", dir)
	}
	// The file may grow to twice that, and one that is damaged lies beside the new one.
	least := quantity(t, known["JOURNAL_MAX_BYTES"])
	if storage := claim.Spec.Resources.Requests[corev1.ResourceStorage]; storage.Cmp(*resource.NewQuantity(4*least.Value(), resource.BinarySI)) < 0 {
		t.Errorf("the claim is of %v, and the journal of %v", &storage, &least)
	}
}

func TestProductionDocumentAppliesTheManifests(t *testing.T) {
	files, err := filepath.Glob("deploy/kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, row := range table(t, "docs/production.md", "File") {
		changed = append(changed, onlySpan(t, row[0]))
	}
	var applied []string
	for _, m := range regexp.MustCompile(`-f (\S+)`).FindAllStringSubmatch(read(t, "docs/production.md"), -1) {
		applied = append(applied, m[1])
	}
	if !slices.Equal(changed, applied) {
		t.Errorf("the table has %v, and applied are %v", changed, applied)
	}
	slices.Sort(changed)
	if !slices.Equal(changed, files) {
		t.Errorf("the table has %v, and there are %v", changed, files)
	}
	if slices.Index(applied, "deploy/kubernetes/worker.yaml") > slices.Index(applied, "deploy/kubernetes/ingress.yaml") {
		t.Error("the ingress comes before the worker")
	}
	key := regexp.MustCompile("`TEMPORAL_API_KEY_FILE: (\\S+)/temporal-api-key`").FindStringSubmatch(read(t, "docs/production.md"))
	for program, pod := range readManifests(t).pods(t) {
		if key == nil || !slices.ContainsFunc(pod.Spec.Containers[0].VolumeMounts, func(v corev1.VolumeMount) bool {
			return v.Name == "sentry-temporal" && v.MountPath == key[1]
		}) {
			t.Errorf("in %s there is no API key at %v", program, key)
		}
	}
}

func TestProductionDocumentHasTheSizesOfTheDeployments(t *testing.T) {
	memory := regexp.MustCompile(`(?m)^\| memory \| (.*) \| (.*) \|$`).FindStringSubmatch(read(t, "docs/production.md"))
	if memory == nil {
		t.Fatal("it has no row on memory")
	}
	pods, services := readManifests(t).pods(t), readDeployment(t).Services
	for i, program := range programs {
		words := strings.Fields(memory[i+1])
		if len(words) < 7 { // 1 GiB, with `GOMEMLIMIT` at 768 MiB
			t.Fatalf("%s: %q", program, memory[i+1])
		}
		limit, ofGo := strings.TrimSuffix(words[0]+words[1], "B,"), words[5]+words[6]
		want := quantity(t, limit)
		inCompose, inManifest := quantity(t, strings.ToUpper(services[program].MemLimit)+"i"), pods[program].Spec.Containers[0].Resources.Limits[corev1.ResourceMemory]
		if want.Cmp(inCompose) != 0 || want.Cmp(inManifest) != 0 {
			t.Errorf("%s has %v in the compose file, %v in the manifests, and %s in the document", program, &inCompose, &inManifest, limit)
		}
		for where, environ := range map[string]map[string]string{
			"compose file": services[program].Environment,
			"manifests":    readManifests(t).environment(t, program, pods[program].Spec.Containers[0]),
		} {
			if environ["GOMEMLIMIT"] != ofGo {
				t.Errorf("%s: GOMEMLIMIT is %s in the %s, and %s in the document", program, environ["GOMEMLIMIT"], where, ofGo)
			}
		}
	}
}
