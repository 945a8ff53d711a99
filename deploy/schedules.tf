locals {
  # The checks query the archive for the last good run, and fail if it was too long ago.
  starts = merge(
    { for task in local.tasks : task => {
      task       = task
      expression = local.schedules[task]
      command    = [task]
    } },
    { for task in local.tasks : "check-${task}" => {
      task       = "predict"
      expression = "rate(12 hours)"
      command    = ["status", "--pipeline", task, "--max-age", "${local.good_run_within_days[task]}d"]
    } },
  )
}

resource "aws_scheduler_schedule" "this" {
  for_each                     = local.starts
  name                         = "${var.name}-${each.key}"
  schedule_expression          = each.value.expression
  schedule_expression_timezone = var.time_zone

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.scheduler.arn
    input = jsonencode({
      containerOverrides = [{ name = each.value.task, command = each.value.command }]
    })

    ecs_parameters {
      # Without a revision: the newest active one, so that schedules pick up a new image.
      task_definition_arn = aws_ecs_task_definition.this[each.value.task].arn_without_revision
      launch_type         = "FARGATE"

      network_configuration {
        subnets          = local.task_subnets
        security_groups  = [aws_security_group.tasks.id]
        assign_public_ip = local.public
      }
    }

    retry_policy {
      maximum_retry_attempts       = 5
      maximum_event_age_in_seconds = 3600
    }

    dead_letter_config {
      arn = aws_sqs_queue.not_started.arn
    }
  }
}

# Starts that the scheduler has given up on, and failures that no mail could be sent about.
resource "aws_sqs_queue" "not_started" {
  name                      = "${var.name}-not-started"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

# The scheduler sends by its role, the rule by this policy.
resource "aws_sqs_queue_policy" "not_started" {
  queue_url = aws_sqs_queue.not_started.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Principal = { Service = "events.amazonaws.com" }
      Resource  = aws_sqs_queue.not_started.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.failed.arn } }
    }]
  })
}

resource "aws_iam_role" "scheduler" {
  name = "${var.name}-scheduler"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.this.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "scheduler" {
  name = "start-tasks"
  role = aws_iam_role.scheduler.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "ecs:RunTask"
        Resource  = [for task in aws_ecs_task_definition.this : "${task.arn_without_revision}:*"]
        Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
      },
      {
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = [aws_iam_role.execution.arn, aws_iam_role.task.arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      { Effect = "Allow", Action = "sqs:SendMessage", Resource = aws_sqs_queue.not_started.arn },
    ]
  })
}
