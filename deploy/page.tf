# The pages on S3: one private bucket, into which the tasks may only write (tasks.tf). How to open them: README.md.

variable "pages" {
  description = "create a private bucket for the pages, where predict and monitor publish them"
  type        = bool
  default     = false
}

locals {
  page_environment = var.pages ? { PAGE_TARGET = "s3://${aws_s3_bucket.page[0].bucket}" } : {}
}

resource "aws_s3_bucket" "page" {
  count         = var.pages ? 1 : 0
  bucket        = "${var.name}-page-${data.aws_caller_identity.this.account_id}"
  force_destroy = true # the pages can be made again from the database at any time
}

resource "aws_s3_bucket_public_access_block" "page" {
  count                   = var.pages ? 1 : 0
  bucket                  = aws_s3_bucket.page[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "page" {
  count  = var.pages ? 1 : 0
  bucket = aws_s3_bucket.page[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.page[0].arn, "${aws_s3_bucket.page[0].arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
  depends_on = [aws_s3_bucket_public_access_block.page]
}

# Pages of phases that no week lists any longer stay on S3; after three months they go.
resource "aws_s3_bucket_lifecycle_configuration" "page" {
  count  = var.pages ? 1 : 0
  bucket = aws_s3_bucket.page[0].id

  rule {
    id     = "old-phases"
    status = "Enabled"
    filter {
      prefix = "phase-"
    }
    expiration {
      days = 90
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

output "page_bucket" {
  description = "where the pages are; null without var.pages"
  value       = one(aws_s3_bucket.page[*].bucket)
}
