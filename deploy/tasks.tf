locals {
  home = "/var/lib/impress"

  # Every variable that src/settings.py reads and that is neither a secret nor set by the image. An empty
  # one counts as not set.
  not_set = {
    DB_HOSTNAME         = ""
    DB_PORT             = ""
    DB_NAME             = ""
    DB_SSLMODE          = ""
    DB_SSLROOTCERT      = ""
    RAW_ARCHIVE         = ""
    PAGE_TARGET         = ""
    PAGE_URL            = ""
    MLFLOW_TRACKING_URI = ""
    MODEL_TRUSTED_KEYS  = ""
    EMAIL_SENDER        = ""
    EMAIL_USERNAME      = ""
    EMAIL_RECIPIENT     = ""
    EMAIL_MAX_MB        = ""
    EMAIL_WEEKLY        = ""
    SMTP_HOST           = ""
    SMTP_PORT           = ""
    SMTP_SECURITY       = ""
    PREFECT_API_URL     = ""
    LOG_FORMAT          = ""
    METRICS             = ""
  }
  environment = merge(
    local.not_set,
    # What CloudWatch can query and plot.
    { LOG_FORMAT = "json", METRICS = "emf:${var.name}" },
    { DB_SSLMODE = "require" },
    var.create_database && !contains(keys(var.environment), "DB_SSLMODE") ? local.verified : {},
    local.page_environment,
    var.environment,
    var.create_database ? { DB_HOSTNAME = aws_db_instance.this[0].address, DB_NAME = "impress" } : {},
  )

  # The images have the certificates of Amazon's authorities for RDS.
  verified = { DB_SSLMODE = "verify-full", DB_SSLROOTCERT = "/app/amazon-rds.pem" }

  # Another key takes effect with another value.
  key_version = var.kms_key_arn == null ? 0 : 1000000

  secret_values = var.create_database ? {
    DB_USERNAME = aws_db_instance.this[0].username
    DB_PASSWORD = ephemeral.aws_secretsmanager_random_password.database[0].random_password
  } : {}
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = var.container_insights ? "enabled" : "disabled"
  }
}

resource "aws_cloudwatch_log_group" "task" {
  for_each          = local.tasks
  name              = "/ecs/${var.name}-${each.key}"
  retention_in_days = var.log_days
}

# Terraform creates the parameter; the value is entered by hand, once (README.md), and never read back. A
# write-only value is in no state and no plan, and is written again only with a new version.
resource "aws_ssm_parameter" "secret" {
  for_each         = setunion(var.secrets, local.login)
  name             = "/${var.name}/${each.key}"
  type             = "SecureString"
  key_id           = var.kms_key_arn
  value_wo         = lookup(local.secret_values, each.key, "not set yet")
  value_wo_version = contains(local.login, each.key) ? local.login_version : 1 + local.key_version
}

resource "aws_ecs_task_definition" "this" {
  for_each                 = local.tasks
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = local.sizes[each.key].cpu
  memory                   = local.sizes[each.key].memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  # The state follows the revisions that deploy/rollback registers, so they do not count as drift.
  track_latest = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }
  # The only writable place in the container; discarded with the task.
  volume {
    name = "home"
  }

  container_definitions = jsonencode([{
    name                   = each.key
    image                  = "${aws_ecr_repository.image[each.key].repository_url}:${aws_ssm_parameter.image_tag.insecure_value}"
    command                = [each.key]
    essential              = true
    cpu                    = local.sizes[each.key].cpu
    memory                 = local.sizes[each.key].memory
    user                   = "10001"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] }, initProcessEnabled = true }
    mountPoints            = [{ sourceVolume = "home", containerPath = local.home, readOnly = false }]
    # A run that is asked to stop rolls back and ends within two seconds, so Fargate's default of 30 s is
    # enough; the run that follows does its work.
    environment = [for name, value in local.environment : { name = name, value = value }]
    secrets = [
      for name, parameter in aws_ssm_parameter.secret : { name = name, valueFrom = parameter.arn }
    ]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.task[each.key].name
        awslogs-region        = var.region
        awslogs-stream-prefix = "run"
        # The alarms count lines, so a task waits for its log instead of dropping them.
        mode = "blocking"
      }
    }
  }])

  lifecycle {
    # Otherwise there would be a moment without an active revision.
    create_before_destroy = true
  }
}

locals {
  by_ecs_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.this.account_id } }
    }]
  })
  # The account's own key for SSM needs no permission, and denies nobody who may read parameters.
  decrypt = var.kms_key_arn == null ? [] : [{
    Effect    = "Allow"
    Action    = "kms:Decrypt"
    Resource  = var.kms_key_arn
    Condition = { StringEquals = { "kms:ViaService" = "ssm.${var.region}.amazonaws.com" } }
  }]
  # s3://bucket/prefix -> bucket/prefix, for what is on S3.
  written = compact([
    for name in ["RAW_ARCHIVE", "PAGE_TARGET"] :
    try(regex("^(?i:s3)://(.+?)/?$", local.environment[name])[0], "")
  ])
}

# What ECS may do to start a task.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = local.by_ecs_tasks
}

resource "aws_iam_role_policy" "execution" {
  name = "start-tasks"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      { Effect = "Allow", Action = "ecr:GetAuthorizationToken", Resource = "*" },
      {
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
        ]
        Resource = [for repository in aws_ecr_repository.image : repository.arn]
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = [for group in aws_cloudwatch_log_group.task : "${group.arn}:log-stream:*"]
      },
      {
        Effect   = "Allow"
        Action   = "ssm:GetParameters"
        Resource = [for parameter in aws_ssm_parameter.secret : parameter.arn]
      },
    ], local.decrypt)
  })
}

# What the program may do: nothing, except write its raw archive and its pages if they are on S3.
resource "aws_iam_role" "task" {
  name               = "${var.name}-task"
  assume_role_policy = local.by_ecs_tasks
}

resource "aws_iam_role_policy" "write" {
  count = length(local.written) == 0 ? 0 : 1
  name  = "write-to-s3"
  role  = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
      Resource = [for place in local.written : "arn:aws:s3:::${place}/*"]
    }]
  })
}
