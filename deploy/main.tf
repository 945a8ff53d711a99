# One image for each task, tagged with the git hash that it was built from.
locals {
  tasks = toset(["predict", "monitor"])
}

resource "aws_ecr_repository" "image" {
  for_each             = local.tasks
  name                 = "${var.name}-${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  lifecycle {
    # Refuses `terraform destroy` in the plan, before it has taken down anything else: see takedown.tf.example.
    prevent_destroy = true
  }
}

# The last images are kept for rollbacks.
resource "aws_ecr_lifecycle_policy" "image" {
  for_each   = local.tasks
  repository = aws_ecr_repository.image[each.key].name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "untagged images"
        selection = {
          tagStatus   = "untagged"
          countType   = "sinceImagePushed"
          countUnit   = "days"
          countNumber = 7
        }
        action = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "all but the last thirty"
        selection = {
          tagStatus      = "tagged"
          tagPatternList = ["*"]
          countType      = "imageCountMoreThan"
          countNumber    = 30
        }
        action = { type = "expire" }
      },
    ]
  })
}

# The only record of which images are in use. Written by deploy/rollback, also for the workflow; read by
# Terraform, so that an apply keeps the current images.
resource "aws_ssm_parameter" "image_tag" {
  name           = "/${var.name}/image_tag"
  description    = "git hash of the images in use; written by deploy/rollback"
  type           = "String"
  insecure_value = "none-yet"

  lifecycle {
    ignore_changes = [insecure_value]
  }
}
