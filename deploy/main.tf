# One image for each task, named by the git hash that it was built from.
locals {
  tasks = toset(["predict", "monitor"])
}

resource "aws_ecr_repository" "image" {
  for_each             = local.tasks
  name                 = "${var.name}-${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.protected

  image_scanning_configuration {
    scan_on_push = true
  }
}

# The last images stay for rolling back.
resource "aws_ecr_lifecycle_policy" "image" {
  for_each   = local.tasks
  repository = aws_ecr_repository.image[each.key].name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "what no tag names"
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

# Which images are in use is said here and nowhere else. deploy/rollback writes it, for the workflow
# too; Terraform reads it, so that an apply keeps the images that it finds.
resource "aws_ssm_parameter" "image_tag" {
  name           = "/${var.name}/image_tag"
  description    = "git hash of the images in use; written by deploy/rollback"
  type           = "String"
  insecure_value = "none-yet"

  lifecycle {
    ignore_changes = [insecure_value]
  }
}
