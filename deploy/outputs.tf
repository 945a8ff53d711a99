output "github_variables" {
  description = "variables of the repository on GitHub, for the workflow"
  value       = { AWS_ROLE_ARN = aws_iam_role.github.arn, AWS_REGION = var.region }
}

output "region" {
  description = "where everything is: export AWS_REGION and AWS_DEFAULT_REGION before using the AWS CLI"
  value       = var.region
}

output "release_policy_arn" {
  description = "for a user with keys, if the workflow has no role"
  value       = aws_iam_policy.release.arn
}

output "secrets" {
  description = "parameters whose values must be entered by hand"
  value = [
    for name, parameter in aws_ssm_parameter.secret : parameter.name
    if !contains(local.login, name)
  ]
}

output "secrets_key" {
  description = "the key that the secrets are encrypted with"
  value       = coalesce(var.kms_key_arn, "alias/aws/ssm")
}

output "network" {
  description = "for `aws ecs run-task --network-configuration`"
  value = jsonencode({
    awsvpcConfiguration = {
      subnets        = local.task_subnets
      securityGroups = [aws_security_group.tasks.id]
      assignPublicIp = local.public ? "ENABLED" : "DISABLED"
    }
  })
}

output "task_security_group" {
  description = "let this group into an existing database of the same network"
  value       = aws_security_group.tasks.id
}
