locals {
  github = "token.actions.githubusercontent.com"
  github_provider = (
    var.github_oidc_provider_arn == null
    ? aws_iam_openid_connect_provider.github[0].arn
    : var.github_oidc_provider_arn
  )
  # Who asks, as GitHub writes it. Repositories created, renamed or transferred since 15 July 2026 are named with
  # their ids, so that nobody can take over an abandoned name.
  github_owner = split("/", var.github_repository)[0]
  github_name  = split("/", var.github_repository)[1]
  github_repositories = concat(
    [var.github_repository],
    var.github_ids == null ? [] : [
      "${local.github_owner}@${var.github_ids.owner}/${local.github_name}@${var.github_ids.repository}",
    ],
  )
}

resource "aws_iam_openid_connect_provider" "github" {
  count          = var.github_oidc_provider_arn == null ? 1 : 0
  url            = "https://${local.github}"
  client_id_list = ["sts.amazonaws.com"]
}

# Assumed by the workflow of one branch of one repository; pull requests and forks have other subjects.
resource "aws_iam_role" "github" {
  name = "${var.name}-github"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.github_provider }
      Condition = { StringEquals = {
        "${local.github}:aud" = "sts.amazonaws.com"
        "${local.github}:sub" = [
          for repository in local.github_repositories : "repo:${repository}:ref:refs/heads/${var.github_branch}"
        ]
      } }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "github" {
  role       = aws_iam_role.github.name
  policy_arn = aws_iam_policy.release.arn
}

# Exactly what pushing images and deploy/rollback need. A separate policy, because a user with keys may
# have it instead of the role.
resource "aws_iam_policy" "release" {
  name = "${var.name}-release"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      # AWS grants these two for everything or not at all; the second only reads.
      {
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition"]
        Resource = "*"
      },
      {
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability",
          "ecr:BatchGetImage",
          "ecr:CompleteLayerUpload",
          "ecr:DescribeImages",
          "ecr:DescribeImageScanFindings",
          "ecr:GetDownloadUrlForLayer",
          "ecr:InitiateLayerUpload",
          "ecr:ListImages",
          "ecr:PutImage",
          "ecr:UploadLayerPart",
        ]
        Resource = [for repository in aws_ecr_repository.image : repository.arn]
      },
      {
        Effect   = "Allow"
        Action   = ["ecs:RegisterTaskDefinition", "ecs:TagResource"]
        Resource = [for task in aws_ecs_task_definition.this : "${task.arn_without_revision}:*"]
      },
      {
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = [aws_iam_role.execution.arn, aws_iam_role.task.arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      {
        Effect   = "Allow"
        Action   = "ssm:PutParameter"
        Resource = aws_ssm_parameter.image_tag.arn
      },
    ]
  })
}
