resource "aws_sns_topic" "alarms" {
  name = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "email" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "sns:Publish"
        Principal = { Service = "events.amazonaws.com" }
        Resource  = aws_sns_topic.alarms.arn
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.failed.arn } }
      },
      {
        Effect    = "Allow"
        Action    = "sns:Publish"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Resource  = aws_sns_topic.alarms.arn
        Condition = { StringEquals = {
          "aws:SourceAccount" = data.aws_caller_identity.this.account_id
        } }
      },
    ]
  })
}

# A task that failed (including a check that found no good run), or that never started, in which case no
# container has an exit code.
resource "aws_cloudwatch_event_rule" "failed" {
  name        = "${var.name}-failed"
  description = "a task exited with a code other than 0, or did not start"
  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn = [aws_ecs_cluster.this.arn]
      lastStatus = ["STOPPED"]
      "$or" = [
        { containers = { exitCode = [{ anything-but = [0] }] } },
        { stopCode = ["TaskFailedToStart"] },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule = aws_cloudwatch_event_rule.failed.name
  arn  = aws_sns_topic.alarms.arn

  dead_letter_config {
    arn = aws_sqs_queue.not_started.arn
  }

  input_transformer {
    input_paths = {
      command = "$.detail.overrides.containerOverrides[0].command"
      exit    = "$.detail.containers[0].exitCode"
      image   = "$.detail.containers[0].image"
      reason  = "$.detail.stoppedReason"
      task    = "$.detail.taskArn"
      when    = "$.detail.stoppedAt"
    }
    # EventBridge renders one JSON string per line as plain text.
    input_template = <<-E
      "impress <command> failed at <when>: exit code <exit>, <reason>"
      "Exit codes: 1 failed, or no good run for too long; 3 rows were rejected; 137 killed; 143 asked to stop; none: did not start."
      "Log: the log group /ecs/... of the image, stream run/.../ and the last part of the task's name."
      "Image <image>, task <task>"
    E
  }
}

resource "aws_cloudwatch_metric_alarm" "not_started" {
  alarm_name          = "${var.name}-not-started"
  alarm_description   = "The scheduler could not start a task, or a failure could not be mailed; the message in the queue says why."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.not_started.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# A CloudWatch alarm looks back at most seven days, and a normal week has one run. So the checks query the
# history, and these alarms monitor the checks: whatever keeps them from answering, including a stopped
# scheduler, leaves a day without a line.
resource "aws_cloudwatch_log_metric_filter" "checked" {
  for_each       = local.tasks
  name           = "${var.name}-checked-${each.key}"
  log_group_name = aws_cloudwatch_log_group.task["predict"].name
  pattern        = "\"last good run of ${each.key}:\""

  metric_transformation {
    namespace = var.name
    name      = "checked-${each.key}"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "unchecked" {
  for_each            = local.tasks
  alarm_name          = "${var.name}-unchecked-${each.key}"
  alarm_description   = "For a day no check could tell when ${each.key} last had a good run."
  namespace           = var.name
  metric_name         = aws_cloudwatch_log_metric_filter.checked[each.key].metric_transformation[0].name
  statistic           = "Sum"
  period              = 86400
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
