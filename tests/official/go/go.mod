module lambent.test/matrix

go 1.23

require github.com/aws/aws-lambda-go v1.49.0
