package devserver

import (
	"cmp"
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
)

// StartOnPostgres starts the Temporal server of docker-compose.yml, configured
// as there, on a PostgreSQL of its own, and returns when every namespace can be
// used. It has no UI. Of PostgreSQL, initdb and postgres have to be on PATH.
func StartOnPostgres(ctx context.Context, o Options) (*Server, error) {
	project, err := projectDir()
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(project, "bin", "temporal-server")
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w: `make test/postgres` builds it", err)
	}
	ports, err := freePorts(9)
	if err != nil {
		return nil, err
	}
	if o.Port != 0 {
		ports[0] = o.Port
	}
	database, err := startPostgres(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	schema := exec.CommandContext(ctx, "sh", filepath.Join(project, "deploy", "schema.sh"))
	schema.Env = []string{
		"PATH=" + filepath.Dir(binary) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"SQL_PLUGIN=postgres12", "SQL_HOST=127.0.0.1", "SQL_PORT=" + database.port, "SQL_USER=temporal", "SQL_PASSWORD=" + database.password,
	}
	if output, err := schema.CombinedOutput(); err != nil {
		database.stop()
		return nil, fmt.Errorf("make the databases: %w: %s", err, output)
	}

	cmd := exec.Command(binary, "start")
	cmd.Env = []string{
		"LOG_LEVEL=warn", "NUM_HISTORY_SHARDS=16", "DYNAMIC_CONFIG_FILE_PATH=" + filepath.Join(project, "deploy", "dynamicconfig.yaml"),
		"DB=postgres12", "DB_PORT=" + database.port, "POSTGRES_SEEDS=127.0.0.1", "POSTGRES_USER=temporal", "POSTGRES_PWD=" + database.password,
	}
	for i, variable := range []string{
		"FRONTEND_GRPC_PORT", "FRONTEND_HTTP_PORT", "FRONTEND_MEMBERSHIP_PORT", "HISTORY_GRPC_PORT", "HISTORY_MEMBERSHIP_PORT",
		"MATCHING_GRPC_PORT", "MATCHING_MEMBERSHIP_PORT", "WORKER_GRPC_PORT", "WORKER_MEMBERSHIP_PORT",
	} {
		cmd.Env = append(cmd.Env, variable+"="+strconv.Itoa(ports[i]))
	}
	s, err := run(cmd, o.Output)
	if err != nil {
		database.stop()
		return nil, err
	}
	s.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	s.stopDatabase = database.stop
	err = s.await(ctx, func(ctx context.Context, c client.Client) error {
		for _, namespace := range append([]string{client.DefaultNamespace}, o.Namespaces...) {
			if err := keepNamespace(ctx, c, namespace); err != nil {
				return fmt.Errorf("namespace %s: %w", namespace, err)
			}
		}
		return nil
	})
	if err != nil {
		s.Kill()
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	return s, nil
}

// keepNamespace makes a namespace unless it is there, and returns nil if each
// part of the server knows it.
func keepNamespace(ctx context.Context, c client.Client, namespace string) error {
	service := c.WorkflowService()
	_, err := service.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if _, there := errors.AsType[*serviceerror.NamespaceAlreadyExists](err); err != nil && !there {
		return err
	}
	if _, err := service.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: namespace, PageSize: 1}); err != nil {
		return err
	}
	_, err = service.DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{Namespace: namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: "none"}})
	if err != nil {
		return err
	}
	_, err = service.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: "none"},
	})
	if _, none := errors.AsType[*serviceerror.NotFound](err); none {
		return nil
	}
	return err
}

// postgres is a PostgreSQL server on the loopback interface whose superuser is
// temporal.
type postgres struct {
	port     string
	password string
	stop     func() // returns when it is gone, and what it kept unless that was asked for
}

// startPostgres returns when PostgreSQL takes connections. It keeps everything
// in the folder o.DBFile, or in one that it removes in the end.
func startPostgres(ctx context.Context, o Options) (_ *postgres, err error) {
	port, err := freePort("PostgreSQL", 0)
	if err != nil {
		return nil, err
	}
	dir := o.DBFile
	remove := func() {}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "temporal-postgres-"); err != nil {
			return nil, err
		}
		remove = func() { _ = os.RemoveAll(dir) } // nobody is there to be told
	}
	defer func() {
		if err != nil {
			remove()
		}
	}()
	attributes, err := postgresAttributes(dir)
	if err != nil {
		return nil, err
	}
	data, passwordFile := filepath.Join(dir, "data"), filepath.Join(dir, "password")
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(name, args...)
		c.Dir, c.SysProcAttr = dir, attributes
		return c
	}
	if _, err := os.Stat(data); err != nil {
		if err := os.WriteFile(passwordFile, []byte(cryptorand.Text()), 0o644); err != nil { //nolint:gosec // nobody else gets into the folder
			return nil, err
		}
		output, err := command("initdb", "--pgdata", data, "--username", "temporal", "--pwfile", passwordFile,
			"--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, output)
		}
	}
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		return nil, err
	}
	// Without sockets and shared memory, which would be left behind when it is
	// killed.
	server := command("postgres", "-D", data, "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-k", "", "-c", "dynamic_shared_memory_type=mmap")
	server.Stdout, server.Stderr = o.Output, o.Output
	if err := server.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = server.Wait() // that it is gone is all there is to know
		close(exited)
	}()
	p := &postgres{port: strconv.Itoa(port), password: string(password), stop: func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // at once, but its children end with it
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			_ = server.Process.Kill()
			<-exited
		}
		remove()
	}}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		// The last line says ready once it takes connections.
		status, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
		if err == nil && strings.Contains(string(status), "\nready") && strings.HasPrefix(string(status), strconv.Itoa(server.Process.Pid)+"\n") {
			return p, nil
		}
		select {
		case <-exited:
			remove()
			return nil, errors.New("it ended: " + server.ProcessState.String())
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// postgresAttributes returns those of the processes of PostgreSQL, which must
// not be root's: for root they are the user postgres', as is the folder then.
func postgresAttributes(dir string) (*syscall.SysProcAttr, error) {
	attributes := processAttributes(syscall.SIGQUIT)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return attributes, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if err := cmp.Or(uidErr, gidErr, os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} //nolint:gosec // IDs are of that size
	return attributes, nil
}

// freePorts returns n ports of the loopback interface that nobody listens on,
// all below 32768: Temporal keeps them in columns of PostgreSQL that hold no more.
func freePorts(n int) ([]int, error) {
	var ports []int
	var last error
	for range 100 * n {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(22768))))
		if err != nil {
			last = err
			continue
		}
		defer l.Close() // only then, so that they differ
		if ports = append(ports, l.Addr().(*net.TCPAddr).Port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("find %d free ports: %w", n, last)
}
