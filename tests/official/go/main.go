// The matrix's function (see tests/official/test_matrix.py) on AWS's own Go client.
package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

var held [][]byte

func handle(ctx context.Context, wanted map[string]any) (any, error) {
	switch wanted["do"] {
	case "error":
		return nil, errors.New("boom")
	case "sleep":
		time.Sleep(20 * time.Second)
	case "memory":
		for {
			block := make([]byte, 16<<20)
			for at := range block {
				block[at] = 1
			}
			held = append(held, block)
		}
	case "exit":
		os.Exit(3)
	case "large":
		return strings.Repeat("x", 7<<20), nil
	case "env":
		return os.Getenv("COLOUR"), nil
	case "layer":
		data, err := os.ReadFile("/opt/marker.txt")
		return string(data), err
	case "tmp":
		before, _ := os.ReadFile("/tmp/kept")
		return len(before), os.WriteFile("/tmp/kept", append(before, 'x'), 0o600)
	case "child":
		out, err := exec.Command("/bin/sh", "-c", "echo $COLOUR; pwd").Output()
		return string(out), err
	case "context":
		known, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{
			"id": known.AwsRequestID, "arn": known.InvokedFunctionArn,
			"name": lambdacontext.FunctionName, "memory": os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
			"left": time.Until(deadline) > 0,
		}, nil
	}
	return wanted, nil
}

func main() { lambda.Start(handle) }
